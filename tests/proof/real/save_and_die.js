// Lets Azurite die at once on SIGUSR2, with all that it holds written: what it acknowledged is durable, as on Azure.
// All its changes happen within one turn of its event loop, and this runs between two: no request gets a reply that
// had none, and each has had its whole effect or none. By itself Azurite writes every five seconds.
const { writeFileSync } = require("node:fs");
const Loki = require("node:module").createRequire(process.argv[1])("lokijs");

const databases = new Set();
const { configureOptions } = Loki.prototype;
Loki.prototype.configureOptions = function (...options) {
    databases.add(this);
    return configureOptions.apply(this, options);
};

process.on("SIGUSR2", () => {
    for (const database of databases) writeFileSync(database.filename, database.serialize());
    process.kill(process.pid, "SIGKILL");
});
