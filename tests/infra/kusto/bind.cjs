// Parses and binds queries with Microsoft's own parser: {schemas, queries} in JSON comes in, diagnostics by query go out.
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");
const { GlobalState, KustoCode, Symbols } = Kusto.Language;

const { schemas, queries } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const tables = Object.entries(schemas).map(([name, columns]) => {
  const list = Object.entries(columns).map(([column, type]) => `['${column}']: ${type}`);
  return Symbols.TableSymbol.From(`(${list.join(", ")})`).WithName(name);
});
const workspace = new Symbols.DatabaseSymbol.$ctor1("workspace", tables);
const globals = GlobalState.Default.WithDatabase(workspace);

const found = {};
for (const [name, text] of Object.entries(queries)) {
  const diagnostics = KustoCode.ParseAndAnalyze(text, globals).GetDiagnostics();
  found[name] = [];
  for (let i = 0; i < diagnostics.Count; i++) {
    const each = diagnostics.getItem(i);
    found[name].push(`${text.slice(0, each.Start).split("\n").length}: ${each.Message}`);
  }
}
console.log(JSON.stringify(found));
