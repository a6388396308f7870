// Verifies one callback as receivers in JavaScript do: its JSON comes in, what was found valid goes out.
const crypto = require("node:crypto");
const packages = { standardwebhooks: require("standardwebhooks"), svix: require("svix") };

const { body, headers, secret, publicKey } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const found = {};

for (const [name, { Webhook }] of Object.entries(packages)) {
  try {
    new Webhook(secret).verify(body, headers);
    found[name] = true;
  } catch {
    found[name] = false;
  }
}

// v1a: no package has it. An Ed25519 key in DER is this prefix and its 32 bytes (RFC 8410).
const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(publicKey.slice(5), "base64")]);
const key = crypto.createPublicKey({ key: der, format: "der", type: "spki" });
const signed = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
found.v1a = headers["webhook-signature"]
  .split(" ")
  .filter((each) => each.startsWith("v1a,"))
  .some((each) => crypto.verify(null, signed, key, Buffer.from(each.slice(4), "base64")));

console.log(JSON.stringify(found));
