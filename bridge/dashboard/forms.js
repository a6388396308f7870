// The dialogs: registering, a ping, redelivering many, and the key.

const input = (name, attributes = {}) => el("input", { name, autocomplete: "off", spellcheck: "false", ...attributes });

/** A labelled field, with a place for its error. */
const field = (label, control, note) => el("label", { "data-field": control.name },
  el("span", {}, label), control, note && el("small", {}, note), el("small", { class: "wrong", role: "alert" }));

/** One field of a form is wrong. */
class WrongField extends Error {
  constructor(target, message) {
    super(message);
    this.details = [{ target, message }];
  }
}

/** Marks the wrong fields: `headers.Host` and `events.0` belong to fields. Returns the details without a field. */
function marked(whole, details) {
  for (const place of whole.querySelectorAll("[data-field] > [role=alert]")) place.textContent = "";
  for (const control of whole.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  return details.filter(({ target, message }) => {
    const [name, ...part] = target.split(".");
    const label = whole.querySelector(`[data-field="${CSS.escape(name)}"]`);
    if (!label) return true;
    for (let around = label.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
    label.querySelector("[role=alert]").textContent = part.length ? `${part.join(".")}: ${message}` : capital(message);
    label.querySelector("input, select, textarea")?.setAttribute("aria-invalid", "true");
    return false;
  });
}

/** A form in a dialog. `send` gets the form's data and returns the contents to show. The dialog also shows errors. */
function form(title, fields, label, send) {
  const result = el("div", { class: "result", role: "status" });
  const button = el("button", { class: "main" }, label);
  const whole = el("form", {
    submit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        marked(whole, []);
        result.replaceChildren(...[await send(new FormData(whole), result)].flat().filter(Boolean));
      } catch (error) {
        if (error instanceof Locked) return signIn(error.message);
        const details = error.details ?? [], others = marked(whole, details);
        const areMarked = details.length > others.length;
        result.replaceChildren(el("p", { class: "wrong" }, areMarked ? "Correct the marked fields." : error.message),
          ...others.map(({ target, message }) => el("p", { class: "wrong" }, `${target}: ${message}`)));
        whole.querySelector("[aria-invalid]")?.focus();
      } finally {
        button.disabled = false;
      }
    },
  }, ...fields, el("p", { class: "actions" }, button), result);
  return ask(title, whole);
}

const given = (data, name) => data.get(name).trim() || undefined;

function json(data, name) {
  const value = given(data, name);
  try {
    if (value) JSON.parse(value);
  } catch {
    throw new WrongField(name, "is not JSON");
  }
  return value && new Raw(value);
}

const EVENTS = ["Succeeded", "Failed", "Canceled", "Expired"];
const FORMATS = [["standard", "Standard Webhooks"], ["cloudevents", "CloudEvents"]];
const checkbox = (name, value, label, checked) =>
  el("label", { class: "check" }, el("input", { type: "checkbox", name, value, checked }), label);

/** A local start has a receiver: its URL is filled in. Elsewhere it is an example. */
const callbackUrl = () => input("callbackUrl", { required: true, type: "url", ...(isLocal() ? { value: receiver() } : { placeholder: receiver() }) });

function register() {
  const names = sources.map((each) => [each.name, each.name]);
  form("Register a callback", [
    field("Operation id", input("operationId", { required: true, placeholder: "the id that Speech returned" })),
    field("Callback URL", callbackUrl(), "receives one signed POST when the operation ends"),
    el("details", {}, el("summary", {}, "More"),
      names.length > 1 && field("Source", select("source", names, "default")),
      el("fieldset", { "data-field": "events" }, el("legend", {}, "Events"), ...EVENTS.map((each) => checkbox("events", each, each, true)),
        el("small", { class: "wrong", role: "alert" })),
      field("Group", input("group"), "a label of operations of similar length"),
      field("Format", select("format", FORMATS, "standard")),
      field("Metadata", el("textarea", { name: "metadata", rows: 2, placeholder: '{"video": "intro"}' }), "a JSON object that comes back in the callback"),
      field("Headers", el("textarea", { name: "headers", rows: 2, placeholder: '{"Authorization": "Bearer …"}' }), "a JSON object; kept encrypted, never shown again")),
  ], "Register", async (data) => {
    const events = data.getAll("events");
    const answer = await call("POST", "registrations", {
      operationId: given(data, "operationId"), callbackUrl: given(data, "callbackUrl"), format: data.get("format"),
      group: given(data, "group"), metadata: json(data, "metadata"), headers: json(data, "headers"),
      events: events.length === EVENTS.length ? undefined : events, source: data.get("source") ?? undefined,
    });
    go({ filter: {}, open: [answer.id] });
    return [
      el("p", { class: "ok" }, `Registered: ${operationOrJob(answer).id} is ${word(answer.state)}.`),
      el("p", {}, "Callbacks to this origin verify with this secret:"),
      secretParts(answer.signingSecret),
    ];
  });
}

/** A secret, masked until a person shows it. */
function secretParts(secret) {
  const masked = `${secret.slice(0, 6)}${"•".repeat(12)}`, code = el("code", {}, masked);
  return el("p", { class: "actions" }, code,
    el("button", { type: "button", click: ({ target }) => {
      const isMasked = code.textContent === masked;
      code.textContent = isMasked ? secret : masked;
      target.textContent = isMasked ? "Hide" : "Show";
    } }, "Show"),
    copyButton("Copy the secret", secret));
}

function ping() {
  form("Ping a URL", [
    field("Callback URL", callbackUrl(), "receives a signed bridge.ping now, under the same rules as a callback"),
    field("Format", select("format", FORMATS, "standard")),
  ], "Send", async (data) => {
    const back = await call("POST", "callbacks/ping", { callbackUrl: given(data, "callbackUrl"), format: data.get("format") });
    return [
      el("p", { class: isSuccess(back) ? "ok" : "wrong" }, `${capital(outcomeWords(back))}${back.detail ? `, ${back.detail},` : back.location ? ` to ${back.location}` : ""}${took(back)}${back.address ? ` at ${back.address}` : ""}`),
      back.body && el("pre", {}, indented(back.body)), told(ofAttempt(back)),
    ];
  });
}

/** The most redeliveries of one call, and the most calls for one click: the bridge reads a part of its list per call. */
const MOST_OF_A_CALL = 500, MOST_CALLS = 20;

/** Redelivers many: first a preview of how many at which hosts, then the start. */
function redeliverMany({ states = ["dead", "pending"], host: name = "", outcome = "", group = "" } = {}) {
  const dialog = form("Redeliver many", [
    el("fieldset", { "data-field": "states" }, el("legend", {}, "Which"),
      checkbox("states", "dead", "failed", states.includes("dead")), checkbox("states", "pending", "waiting for their next attempt", states.includes("pending")),
      el("small", { class: "wrong", role: "alert" })),
    field("Host", input("host", { placeholder: "hooks.example.com", value: name }), "of the callback URL; empty for all"),
    field("Last outcome", select("outcome", outcomeOptions(outcome), outcome)),
    field("Group", input("group", { value: group }), "empty for all"),
    field("Within", select("age", AGES, 604800)),
  ], "Preview", async (data, result) => {
    const chosen = data.getAll("states");
    if (!chosen.length) throw new WrongField("states", "choose at least one");
    const order = {
      states: chosen, since: agoOf(Number(data.get("age"))), host: given(data, "host") && hostIn(given(data, "host")),
      outcome: data.get("outcome") || undefined, group: given(data, "group"),
    };
    return preview(await call("POST", "redeliver", { ...order, limit: MOST_OF_A_CALL, dryRun: true }), order, result);
  });
  dialog.querySelector("form").addEventListener("input", () => dialog.querySelector(".result").replaceChildren());
}

function preview({ total, byHost, more }, order, result) {
  if (!total) return el("p", {}, more ? "The bridge found none in the part of its list that it read: choose a shorter time." : "No registration matches.");
  const hosts = new Set(byHost.map((each) => each.host)).size;
  const start = el("button", {
    type: "button", class: "main", click: async () => {
      start.disabled = true;
      result.replaceChildren(...await started(order).catch((error) => [el("p", { class: "wrong" }, error.message)]));
      refreshAll().catch(trouble);
    },
  }, `Redeliver ${total.toLocaleString("en")}${more ? " or more" : ""}`);
  return [
    el("p", {}, `${more ? "At least " : ""}${plural(total, "delivery", "deliveries")} at ${plural(hosts, "host")}:`),
    el("ul", {}, ...byHost.map((each) => el("li", {}, `${each.host}: ${each.count.toLocaleString("en")}, ${each.outcome === null ? "not attempted yet" : outcomeLabel(each.outcome)}`))),
    el("p", { class: "quiet" }, "Nothing has started yet. The deliveries to one host start over a minute."),
    start,
  ];
}

/** Starts all deliveries of an order, call after call. */
async function started(order) {
  let count = 0, cursor, isMore = true;
  for (let calls = 0; isMore && calls < MOST_CALLS; calls += 1) {
    const answer = await call("POST", "redeliver", { ...order, limit: MOST_OF_A_CALL, cursor });
    count += answer.started;
    cursor = answer.cursor ?? undefined;
    isMore = answer.more && cursor !== undefined;
  }
  return [el("p", { class: count ? "ok" : "quiet" }, count ? `Started: ${plural(count, "delivery", "deliveries")}.` : "None was started."),
    isMore && el("p", {}, "There are more: preview and start again.")].filter(Boolean);
}

/** The name of the function app, from its address: `{app}.azurewebsites.net`, perhaps with a hash and a region. */
function appName() {
  const [first, ...rest] = location.hostname.split(".");
  if (rest.slice(-2).join(".") !== "azurewebsites.net") return null;
  return rest.length > 2 ? first.replace(/-[a-z\d]{16}$/, "") : first;
}

const APP = appName();
const GROUP = APP ? `"$(az functionapp list --query "[?name=='${APP}'].resourceGroup" -o tsv)"` : "{resource group}";
const SIGN_IN = BY_TOKEN
  ? ["The bridge is set up for tokens of your tenant (BRIDGE_AUTH=entra). Get one with:",
    "az account get-access-token --scope api://{client id of the bridge}/.default --query accessToken -o tsv"]
  : ["Enter a function key of the app. With Azure's command line:", `az functionapp keys list -n ${APP ?? "{app}"} -g ${GROUP} --query functionKeys.default -o tsv`];

function signIn(why) {
  const open = document.querySelector("dialog[data-sign-in]");
  if (open) return;
  const dialog = ask(BY_TOKEN ? "Sign in with a token" : "Enter the key");
  dialog.dataset.signIn = "";
  dialog.append(el("form", {
    submit: (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEPT, new FormData(event.target).get("key").replace(/[^\x21-\x7e]/g, ""));
      dialog.close();
      doing(refreshAll);
    },
  },
  el("p", {}, SIGN_IN[0]), el("pre", {}, SIGN_IN[1]),
  field(BY_TOKEN ? "Token" : "Key", input("key", { type: "password", required: true })),
  el("p", { class: "quiet" }, "Kept for this tab only, and never part of a URL."),
  why && el("p", { class: "wrong" }, why),
  el("p", { class: "actions" }, el("button", { class: "main" }, "Enter"))));
  dialog.querySelector("input").focus();
}

function signOut() {
  sessionStorage.removeItem(KEPT);
  location.reload();
}
