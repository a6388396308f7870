// The dialogs: registering, a ping, redelivering the dead callbacks of a host, and the key.

const field = (label, input, note) => el("label", {}, el("span", {}, label), input, note && el("small", {}, note));
const input = (name, attributes = {}) => el("input", { name, autocomplete: "off", spellcheck: "false", ...attributes });

/** A form in a dialog. `send` gets the form's data and returns the contents to show. The dialog also shows errors. */
function form(title, fields, label, send) {
  const result = el("div", { class: "result", role: "status" });
  const button = el("button", { class: "main" }, label);
  const whole = el("form", {
    submit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        result.replaceChildren(...[await send(new FormData(whole))].flat().filter(Boolean));
      } catch (error) {
        if (error instanceof Locked) return signIn(error.message);
        const details = (error.details ?? []).map((each) => el("li", {}, each));
        result.replaceChildren(el("p", { class: "wrong" }, error.message), ...(details.length ? [el("ul", {}, ...details)] : []));
      } finally {
        button.disabled = false;
      }
    },
  }, ...fields, el("p", { class: "actions" }, button), result);
  return ask(title, whole);
}

const given = (data, name) => data.get(name).trim() || undefined;

function json(data, name) {
  const text = given(data, name);
  try {
    if (text) JSON.parse(text);
  } catch {
    throw new Error(`${capital(name)} is not JSON.`);
  }
  return text && new Raw(text);
}

function select(name, options, chosen) {
  return el("select", { name }, ...options.map(([value, label]) => el("option", { value, selected: value === chosen }, label)));
}

const EVENTS = ["Succeeded", "Failed", "Canceled", "Expired"];

function register() {
  const names = sources.map((each) => [each.name, each.name]);
  form("Register a callback", [
    field("Operation id", input("operationId", { required: true, placeholder: "the id that Speech returned" })),
    field("Callback URL", input("callbackUrl", { required: true, type: "url", value: "", placeholder: receiver() }), "receives one signed POST when the operation ends"),
    el("details", {}, el("summary", {}, "More"),
      names.length > 1 && field("Source", select("source", names, "default")),
      el("fieldset", {}, el("legend", {}, "Events"), ...EVENTS.map((each) =>
        el("label", { class: "check" }, el("input", { type: "checkbox", name: "events", value: each, checked: true }), each))),
      field("Group", input("group"), "a label of operations of similar length"),
      field("Format", select("format", [["standard", "Standard Webhooks"], ["cloudevents", "CloudEvents"]])),
      field("Metadata", el("textarea", { name: "metadata", rows: 2, placeholder: '{"video": "intro"}' }), "a JSON object that comes back in the callback"),
      field("Headers", el("textarea", { name: "headers", rows: 2, placeholder: '{"Authorization": "Bearer …"}' }), "a JSON object; kept encrypted, never shown again")),
  ], "Register", async (data) => {
    const events = data.getAll("events");
    const answer = await call("POST", "registrations", {
      operationId: given(data, "operationId"), callbackUrl: given(data, "callbackUrl"), format: data.get("format"),
      group: given(data, "group"), metadata: json(data, "metadata"), headers: json(data, "headers"),
      events: events.length === EVENTS.length ? undefined : events, source: data.get("source") ?? undefined,
    });
    list.open.set(answer.id, answer);
    refresh().catch(trouble);
    const secret = answer.signingSecret;
    return [
      el("p", { class: "ok" }, `Registered: ${answer.operation.id} is ${word(answer.state)}.`),
      el("p", {}, "Callbacks to this origin verify with the secret ", el("code", {}, secret)),
      el("button", { type: "button", click: ({ target }) => copy(secret, target) }, "Copy the secret"),
    ];
  });
}

function ping() {
  form("Ping a URL", [
    field("Callback URL", input("callbackUrl", { required: true, type: "url", placeholder: receiver() }), "receives a signed bridge.ping now, under the same rules as a callback"),
    field("Format", select("format", [["standard", "Standard Webhooks"], ["cloudevents", "CloudEvents"]])),
  ], "Send", async (data) => {
    const back = await call("POST", "callbacks/ping", { callbackUrl: given(data, "callbackUrl"), format: data.get("format") });
    const good = back.status >= 200 && back.status < 300;
    return [
      el("p", { class: good ? "ok" : "wrong" }, `${back.error ?? `HTTP ${back.status}`}${back.detail ? `, ${back.detail},` : back.location ? ` to ${back.location}` : ""} after ${duration(back.durationMs / 1000)}${back.address ? ` at ${back.address}` : ""}`),
      back.body && el("pre", {}, back.body), told(ofAttempt(back)),
    ];
  });
}

const AGES = [[3600, "the last hour"], [86400, "the last day"], [604800, "the last week"], [2592000, "the last 30 days"]];

function redeliverMany() {
  form("Deliver the dead again", [
    field("Host", input("host", { placeholder: "hooks.example.com" }), "of the callback URL, with its port if it has one; empty for all"),
    field("Died in", select("age", AGES.map(([seconds, label]) => [String(seconds), label]), "86400")),
    field("At most", input("limit", { type: "number", min: 1, max: 500, value: 100 })),
  ], "Deliver again", async (data) => {
    const since = new Date(Date.now() - 1000 * Number(data.get("age"))).toISOString();
    const order = { state: "dead", since, host: given(data, "host"), limit: Number(data.get("limit")) };
    let answer = await call("POST", "redeliver", order);
    while (answer.cursor && answer.started < order.limit) { // a call reads a bounded part of the list
      const further = await call("POST", "redeliver", { ...order, limit: order.limit - answer.started, cursor: answer.cursor });
      answer = { ...further, started: answer.started + further.started };
    }
    refresh().catch(trouble);
    return [el("p", { class: answer.started ? "ok" : "quiet" }, answer.started ? `Started: ${answer.started} ${answer.started === 1 ? "delivery" : "deliveries"}.` : "No registration died in that time."),
      answer.more && el("p", {}, "There are more. Send the form again to continue.")];
  });
}

const SIGN_IN = BY_TOKEN
  ? ["The bridge is set up for tokens of your tenant (BRIDGE_AUTH=entra). Get one with:",
    "az account get-access-token --scope api://{client id of the bridge}/.default --query accessToken -o tsv"]
  : ["Enter a function key of the app. With Azure's command line:", "az functionapp keys list -g {resource group} -n {app} --query functionKeys.default -o tsv"];

function signIn(why) {
  if (document.querySelector("dialog[data-sign-in]")) return;
  const dialog = ask(BY_TOKEN ? "Sign in with a token" : "Enter the key");
  dialog.dataset.signIn = "";
  dialog.append(el("form", {
    submit: (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEPT, new FormData(event.target).get("key").replace(/[^\x21-\x7e]/g, ""));
      dialog.close();
      doing(refresh);
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
