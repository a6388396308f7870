// The view: filters, page and open rows. The address of the page names the view, so that a link leads to it.

/** The filters of the list, by the names of the API's parameters, with their labels. */
const FILTERS = {
  state: "state", operationId: "operation", jobId: "job", messageId: "message", host: "host", outcome: "outcome", group: "group",
  since: "since", until: "until",
};

const list = {
  filter: {},
  /** The cursors of the pages from the first one to the shown one. The first page has none. */
  cursors: [""],
  /** The cursor of the next page. */
  next: null,
  entries: null,
  /** Open rows: the registration and the message of each id, as far as they were read. */
  open: new Map(),
  /** The number of the latest read. Answers to earlier reads are dropped. */
  reads: 0,
};

const isOpen = (id) => list.open.has(id);

function setOpen(ids) {
  for (const id of ids) if (!isOpen(id)) unfolded.delete(`message ${id}`); // the message is read when it is unfolded
  list.open = new Map(ids.map((id) => [id, list.open.get(id) ?? { shown: null, message: null }]));
}

/** Reads the view from the address. */
function readAddress() {
  const query = new URLSearchParams(location.search);
  list.filter = Object.fromEntries(Object.keys(FILTERS).filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
  const cursor = query.get("cursor");
  list.cursors = history.state?.cursors ?? (cursor ? ["", cursor] : [""]);
  setOpen(new URLSearchParams(location.hash.slice(1)).getAll("id"));
}

function addressOf(filter, cursor, ids) {
  const query = new URLSearchParams(filter);
  if (cursor) query.set("cursor", cursor);
  const hash = ids.map((id) => `id=${encodeURIComponent(id)}`).join("&");
  // A registration id has "~" and a state list has ",": both are allowed there, and easier to read.
  return location.pathname + (query.size ? `?${query}`.replaceAll("%2C", ",").replaceAll("%3A", ":") : "") + (hash ? `#${hash}` : "");
}

/** Shows another view, with an address that the back button returns from. */
function go({ filter = list.filter, cursors = [""], open = [] }) {
  Object.assign(list, { filter, cursors });
  setOpen(open);
  history.pushState({ cursors }, "", addressOf(filter, cursors.at(-1), open));
  showView();
}

/** Draws the controls at once, and the list when the bridge answers. */
function showView() {
  drawControls();
  byId("table").setAttribute("aria-busy", "true");
  doing(async () => {
    await Promise.all([readList(), ...[...list.open.keys()].map(readOpen)]);
    drawList();
  });
}

const without = (name) => Object.fromEntries(Object.entries(list.filter).filter(([each]) => each !== name));
const withFilter = (name, value) => (value ? { ...list.filter, [name]: value } : without(name));

function filterWords(name, value) {
  if (name === "state") return value.split(",").map(word).join(" or ");
  if (name === "outcome") return outcomeLabel(value);
  if (name === "since" || name === "until") return `${name} ${new Date(value).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}`;
  return `${FILTERS[name]} ${value}`;
}

const AGES = [[3600, "the last hour"], [86400, "the last day"], [604800, "the last week"], [2592000, "the last 30 days"]];
const agoOf = (seconds) => new Date(Date.now() - 1000 * seconds).toISOString();

const OUTCOMES = [...Object.keys(OUTCOME_CLASSES), "401", "403", "404", "410", "429", "500", "502", "503", ...Object.keys(FAILURES)];
const outcomeOptions = (chosen) => [["", "any outcome"], ...[...new Set([...OUTCOMES, chosen].filter(Boolean))].map((each) => [each, outcomeLabel(each)])];

/** Draws the cards, the fields and the active filters. */
function drawControls() {
  const { filter } = list;
  for (const card of document.querySelectorAll("[data-state]")) {
    card.setAttribute("aria-pressed", String(card.dataset.state === (filter.state ?? "")));
  }
  show(byId("filters"), filter, () => [
    el("input", { name: "host", "aria-label": "Host", placeholder: "host", value: filter.host ?? "", autocomplete: "off", spellcheck: "false", "data-focus": "filter host" }),
    select("outcome", outcomeOptions(filter.outcome), filter.outcome ?? "", { "aria-label": "Outcome", "data-focus": "filter outcome" }),
    el("input", { name: "group", "aria-label": "Group", placeholder: "group", value: filter.group ?? "", autocomplete: "off", spellcheck: "false", "data-focus": "filter group" }),
    select("since", [["", "any time"], ...AGES, ...(filter.since ? [[filter.since, filterWords("since", filter.since)]] : [])], filter.since ?? "",
      { "aria-label": "Since", "data-focus": "filter since" }),
  ]);
  const active = Object.entries(filter);
  show(byId("chips"), filter, () => [
    ...active.map(([name, value]) => el("button", {
      type: "button", class: "chip", "aria-label": `Remove the filter: ${filterWords(name, value)}`, click: () => go({ filter: without(name) }),
    }, filterWords(name, value), el("span", { "aria-hidden": "true" }, " ✕"))),
    active.length > 1 && el("button", { type: "button", class: "chip", click: () => go({ filter: {} }) }, "Clear all"),
  ]);
}

function filterChanged({ target }) {
  const value = target.value.trim();
  if (target.name === "since") return go({ filter: withFilter("since", AGES.some(([age]) => String(age) === value) ? agoOf(Number(value)) : value) });
  go({ filter: withFilter(target.name, target.name === "host" ? hostIn(value) : value) });
}

const OPERATION_ID = /^[a-z\d][\w.-]{1,62}[a-z\d]$/i;
const MESSAGE_ID = /^msg_/;
const HOST = /^(\[[\da-f:.]+\]|[a-z\d.-]+)(:\d+)?$/i;

/** The host of a URL. Other text stays as it is. */
const hostIn = (text) => (/^https?:\/\//i.test(text) && URL.canParse(text) ? new URL(text).host : text);

/** The part of an answer that is about its operation, or about its job. */
const operationOrJob = ({ operation, job }) => operation ?? job;

const exists = async (filter) => {
  const { value, nextLink } = await call("GET", `registrations?${new URLSearchParams({ ...filter, limit: 1 })}`);
  return value.length > 0 || nextLink !== null;
};

/** Finds an operation, a registration, a message or a host, by the form of the text. Throws Error for another form. */
async function find(text) {
  const words = hostIn(text.trim());
  if (!words) return go({ filter: {} });
  if (MESSAGE_ID.test(words)) return go({ filter: { messageId: words } });
  if (words.includes("~")) {
    const [collection, id] = words.split("~");
    return go({ filter: collection.endsWith(".jobs") ? { jobId: id } : { operationId: id }, open: [words] });
  }
  const isOperation = OPERATION_ID.test(words), isHost = HOST.test(words);
  if (!isOperation && !isHost) throw new Error("Enter an operation id, a registration id, msg_… or a host.");
  if (!isHost || (isOperation && (await exists({ operationId: words })))) return go({ filter: { operationId: words } });
  // "hooks.example.com" is a host and could be an operation; "my-operation" is an operation and could be a host.
  const looksLikeHost = !isOperation || /[.:]/.test(words) || (await exists({ host: words }));
  go({ filter: looksLikeHost ? { host: words } : { operationId: words } });
}
