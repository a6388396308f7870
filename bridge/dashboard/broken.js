// What is broken: the faults of the bridge, with advice.

const broken = { faults: [] };

/** A fault of the bridge: its sweeps, its queue or a source. */
const faultLine = ({ where, what, at, form, detail, advice }) => el("li", {}, el("div", {},
  el("p", {}, el("strong", {}, where), " ", el("span", { class: "wrong" }, what, at && when(at, form))),
  (detail || advice) && el("p", { class: "hint" }, detail && el("strong", {}, `${detail}. `), advice && `${capital(advice)}.`)));

function drawBroken() {
  show(byId("broken"), broken.faults, () => (broken.faults.length
    ? el("ul", { class: "faults" }, ...broken.faults.map(faultLine)) : el("p", { class: "ok" }, "✓ The bridge has no fault.")));
}
