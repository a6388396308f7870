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
const plural = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** Writes seconds in the largest unit that gives two or more: 90 s, 12 min, 3 h. */
function duration(seconds) {
  if (seconds > 0 && seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  const [size, unit] = UNITS.find(([each]) => seconds >= 2 * each) ?? [1, "s"];
  return `${seconds < 10 && size === 1 && !Number.isInteger(seconds) ? seconds.toFixed(1) : Math.round(seconds / size)} ${unit}`;
}

function relative(moment) {
  const seconds = (Date.parse(moment) - Date.now()) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  return seconds < 0 ? `${duration(Math.floor(-seconds))} ago` : `in ${duration(Math.ceil(seconds))}`;
}

/** A time relative to now, with the exact time on hover. */
const when = (moment) =>
  moment ? el("time", { datetime: moment, title: moment }, relative(moment)) : el("span", { class: "quiet" }, "–");

function tick() {
  for (const time of document.querySelectorAll("time")) {
    const text = relative(time.dateTime);
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

/** Opens a dialog with these contents. Closing removes the dialog, and the browser restores the focus. */
function ask(title, ...children) {
  const close = el("button", { type: "button", class: "plain", "aria-label": "Close", click: () => dialog.close() }, "✕");
  const dialog = el("dialog", { "aria-label": title, close: () => dialog.remove() },
    el("header", {}, el("h2", {}, title), close), ...children);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
