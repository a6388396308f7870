// Receive callbacks of the bridge with Express: verify, keep, answer at once, work later.
//
// Run: `npm start`, with WEBHOOK_SECRET in the environment, or with WEBHOOK_PUBLIC_KEYS, WEBHOOK_AUDIENCE and
// WEBHOOK_SUBSCRIBER. It listens on HOST and PORT, by default 127.0.0.1 and 8000; the inbox is the folder INBOX, by default `inbox` in the present one.

import express from "express";

import { Inbox } from "./inbox.js";
import { NotForUs, verifierFrom } from "./verification.js";
import { Worker } from "./worker.js";

/**
 * Do what the callback is good for: this is the place for your own code.
 *
 * After a crash it can be called again for the same event, so do what may be done twice. What it throws is logged, and
 * the event comes again.
 */
async function work(event) {
  console.log(`${event.type}: ${event.data.operationId} is ${event.data.status}`);
}

const verify = verifierFrom(process.env);
const inbox = new Inbox(process.env.INBOX ?? "inbox");
await inbox.open();
const worker = new Worker(inbox, work);
const app = express();
app.disable("x-powered-by");

// The bytes as they came: they are what was signed, not what a JSON parser makes of them. More than 64 KiB no callback
// has; whoever sends more is a stranger.
const rawBody = express.raw({ type: () => true, limit: "64kb", inflate: false });

// Answers 204 as soon as the callback is on disk; 401 tells the bridge's operator why not.
app.post("/callback", rawBody, async (request, response) => {
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const event = verify(body, request.headers);
  const id = request.headers["webhook-id"];
  if (event.type === "bridge.ping") console.log(`${id}: the bridge reaches this receiver`);
  else if (await inbox.keep(id, body.toString())) worker.wake();
  else console.log(`${id} came before`);
  response.sendStatus(204);
});

// Four parameters are what makes Express take it for its handler of errors.
app.use((error, request, response, next) => {
  const status = error instanceof NotForUs ? 401 : (error.status ?? 500);
  if (status === 500) console.error("a callback was not kept:", error);
  else console.warn(`refused a request: ${error.message}`);
  if (response.headersSent) next(error);
  else response.status(status).type("text/plain").send(status === 500 ? "" : error.message);
});

worker.start();
const server = app.listen(Number(process.env.PORT ?? 8000), process.env.HOST ?? "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`listening on http://${server.address().address}:${server.address().port}`);
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    server.close(async () => {
      await worker.stop();
      await inbox.close();
    });
    server.closeIdleConnections();
  });
}
