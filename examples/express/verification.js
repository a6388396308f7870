// Verify that a request is a callback of the bridge for this receiver.
//
// Standard Webhooks, by one of two schemes: `v1`, a secret that only this receiver and the bridge know, or `v1a`,
// public keys that are the same for all receivers.

import { createPublicKey, verify as verifySignature } from "node:crypto";

import { Webhook } from "standardwebhooks";

/** How far `webhook-timestamp` may be from this machine's clock, in seconds; older ones are somebody's recording. */
const TOLERANCE = 300;

/** What came is not a callback of the bridge for this receiver; the message says why. */
export class NotForUs extends Error {}

/**
 * Return the function that verifies, by `WEBHOOK_SECRET`, or by `WEBHOOK_PUBLIC_KEYS` with `WEBHOOK_AUDIENCE` and
 * `WEBHOOK_SUBSCRIBER`.
 *
 * It takes the raw bytes and the headers, with names in lower case, and returns the event or throws NotForUs.
 * Throws an Error, naming the variable, where the settings are wrong.
 */
export function verifierFrom(environment) {
  const { WEBHOOK_SECRET: secret, WEBHOOK_PUBLIC_KEYS: keys } = environment;
  const { WEBHOOK_AUDIENCE: audience, WEBHOOK_SUBSCRIBER: subscriber } = environment;
  if (!secret === !keys) throw new Error("Set either WEBHOOK_SECRET or WEBHOOK_PUBLIC_KEYS.");
  if (keys && !(audience && subscriber)) {
    throw new Error("Set WEBHOOK_AUDIENCE and WEBHOOK_SUBSCRIBER beside WEBHOOK_PUBLIC_KEYS, which all receivers share.");
  }
  const verify = secret ? bySecret(secret) : byPublicKeys(keys.split(",").map(publicKey));
  return (body, headers) => {
    const event = verify(body, headers);
    for (const [name, expected] of Object.entries({ audience, subscriber })) {
      if (expected && event?.data?.[name] !== expected) throw new NotForUs(`signed for another ${name}`);
    }
    return event;
  };
}

/** Verify `v1` by the public package. */
function bySecret(secret) {
  const webhook = new Webhook(secret);
  return (body, headers) => {
    try {
      return webhook.verify(body.toString(), headers);
    } catch (error) {
      throw new NotForUs(error.message);
    }
  };
}

/** Verify `v1a`: Ed25519 over id, time and body. A bridge that is replacing its key sends several signatures. */
function byPublicKeys(keys) {
  return (body, headers) => {
    const { "webhook-id": id, "webhook-timestamp": timestamp = "", "webhook-signature": signatures = "" } = headers;
    const off = Math.abs(Math.floor(Date.now() / 1000) - Number(timestamp));
    if (!/^\d{1,12}$/.test(timestamp) || off > TOLERANCE) {
      throw new NotForUs("webhook-timestamp is more than five minutes off");
    }
    const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
    const given = signatures.split(" ").filter((each) => each.startsWith("v1a,"));
    const isBy = (key) => given.some((each) => verifySignature(null, signed, key, Buffer.from(each.slice(4), "base64")));
    if (!id || !keys.some(isBy)) throw new NotForUs("no signature by a known key");
    return JSON.parse(body.toString());
  };
}

/** Read a key as `GET /api/signing-keys` of the bridge writes it. */
function publicKey(text) {
  const raw = Buffer.from(text.trim().replace(/^whpk_/, ""), "base64");
  try {
    return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") }, format: "jwk" });
  } catch (error) {
    throw new Error("WEBHOOK_PUBLIC_KEYS has something that is no whpk_… key.", { cause: error });
  }
}
