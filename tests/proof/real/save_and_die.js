// Makes Azurite die at once on SIGUSR2, after writing all data to disk: acknowledged writes are durable, as on Azure.
// Azurite applies each change within one turn of the event loop, and this handler runs between two turns. So each
// request without a reply has had its whole effect or none. A plain Azurite writes to disk every five seconds.
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
