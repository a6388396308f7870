"use strict";
// Elements and times. Text from clients, receivers and Speech becomes text nodes and never markup: no function of the
// page sets innerHTML, and the page's policy lets no other script run.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const el = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const drawn = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
const byId = (id) => document.getElementById(id);
const plural = (count, one, several = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : several}`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const select = (name, options, chosen, attributes = {}) => el("select", { name, ...attributes },
  ...options.map(([value, label]) => el("option", { value, selected: String(value) === String(chosen) }, label)));

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** Writes seconds in the largest unit that gives two or more: 90 s, 12 min, 3 h. */
function duration(seconds) {
  if (seconds > 0 && seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  const [size, unit] = UNITS.find(([each]) => seconds >= 2 * each) ?? [1, "s"];
  return `${seconds < 10 && size === 1 && !Number.isInteger(seconds) ? seconds.toFixed(1) : Math.round(seconds / size)} ${unit}`;
}

// How a time is written, by its place in a sentence: "updated 7 s ago", "next in 4 min", "paused for 43 s" and
// "overdue for 13 s". The argument is the number of seconds until the time.
const FORMS = {
  ago: (until) => (until > -1 ? "now" : `${duration(Math.floor(-until))} ago`),
  due: (until) => (until < 1 ? "now" : `in ${duration(Math.ceil(until))}`),
  left: (until) => duration(Math.max(Math.ceil(until), 1)),
  since: (until) => duration(Math.max(Math.floor(-until), 1)),
};

const relative = (moment, form) => FORMS[form]((Date.parse(moment) - Date.now()) / 1000);

/** A time relative to now, with the exact time on hover. */
const when = (moment, form = "ago") => (moment
  ? el("time", { datetime: moment, title: moment, "data-form": form }, relative(moment, form))
  : el("span", { class: "quiet" }, "–"));

function tick() {
  for (const time of document.querySelectorAll("time")) {
    const text = relative(time.dateTime, time.dataset.form);
    if (time.textContent !== text) time.textContent = text;
  }
}

/** Replaces children, unless the key is unchanged: focus and selection then stay where they are. */
function show(parent, key, make) {
  const text = JSON.stringify(key);
  if (parent.shown === text) return;
  parent.shown = text;
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  parent.replaceChildren(...[make()].flat().filter(Boolean));
  if (focused) parent.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

const unfolded = new Set();

/** Details that stay open when they are drawn again. `opened` is called when a person opens them. */
function fold(key, summary, content, opened = () => {}) {
  return el("details", {
    open: unfolded.has(key),
    toggle: ({ target }) => {
      if (target.open === unfolded.has(key)) return;
      if (target.open) unfolded.add(key);
      else unfolded.delete(key);
      if (target.open) opened();
    },
  }, el("summary", { "data-focus": key }, summary), ...[content].flat());
}

async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
  } catch {
    ask("Copy this", el("textarea", { readonly: true, rows: 4, "aria-label": "To copy" }, text));
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}

const copyButton = (label, text, key) =>
  el("button", { type: "button", "data-focus": key, click: ({ target }) => copy(text, target) }, label);

/** Opens a dialog with these contents. Closing removes the dialog, and the browser restores the focus. */
function ask(title, ...children) {
  const close = el("button", { type: "button", class: "plain", "aria-label": "Close", click: () => dialog.close() }, "✕");
  const dialog = el("dialog", { "aria-label": title, close: () => dialog.remove() },
    el("header", {}, el("h2", {}, title), close), ...children);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Asks for a confirmation. Resolves to whether it was given. */
function confirmed(title, text, label) {
  return new Promise((resolve) => {
    const dialog = ask(title, el("p", {}, text), el("p", { class: "actions" },
      el("button", { type: "button", class: "danger", click: () => { resolve(true); dialog.close(); } }, label),
      el("button", { type: "button", click: () => dialog.close() }, "No, go back")));
    dialog.addEventListener("close", () => resolve(false));
  });
}

const JSON_TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** Indents JSON without a change of its tokens: JavaScript would round large numbers. Other text stays as it is. */
function indented(text) {
  try {
    if (typeof JSON.parse(text) !== "object") return text;
  } catch {
    return text;
  }
  const tokens = text.match(JSON_TOKEN);
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  return tokens.map((token, i) => {
    const isEmpty = "{[".includes(tokens[i - 1] ?? " ");
    if (token === "{" || token === "[") {
      depth += 1;
      return "}]".includes(tokens[i + 1]) ? token : token + line();
    }
    if (token === "}" || token === "]") {
      depth -= 1;
      return isEmpty ? token : line() + token;
    }
    return { ",": `,${line()}`, ":": ": " }[token] ?? token;
  }).join("");
}
