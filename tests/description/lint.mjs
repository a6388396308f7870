// Lints the description that comes on standard input, and writes what it finds on standard output, as JSON.
import { readFileSync } from "node:fs";
import { createConfig, lintFromString } from "@redocly/openapi-core";

const config = await createConfig({
  extends: ["recommended-strict"],
  rules: {
    "info-license": "off", // the licence is the repository's, not the API's
    "security-defined": "error",
    "no-invalid-media-type-examples": "error",
    "no-invalid-schema-examples": "error",
  },
});
const found = await lintFromString({ source: readFileSync(0, "utf8"), absoluteRef: "openapi.json", config });
const told = found.map(({ ruleId, message, location }) => ({ ruleId, message, at: location.map((each) => each.pointer) }));
process.stdout.write(JSON.stringify(told));
