// The charts, drawn from the answer of `overview`: the last day, and the polling schedule.

const WIDE = 560, LEFT = 44, RIGHT = 8;

const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const clock = (moment) => new Date(moment).toLocaleTimeString([], CLOCK);
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const text = (x, y, words, attributes = {}) => drawn("text", { x, y, ...attributes }, words);

/** The next round number at or above a value: 1, 2 or 5 times a power of ten. */
function above(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= value);
}

function frame(height, words, ...children) {
  return drawn("svg", { viewBox: `0 0 ${WIDE} ${height}`, role: "img", "aria-label": words }, ...children);
}

const legend = (...entries) => el("p", { class: "legend quiet" }, ...entries.map(([kind, words]) =>
  el("span", {}, el("i", { class: kind, "aria-hidden": "true" }), words)));

/** Callbacks of the last day per hour, above the delay from the end to their delivery. */
function dayChart({ hours }) {
  const step = (WIDE - LEFT - RIGHT) / hours.length, bars = 50, delays = 40, gap = 22;
  const most = above(Math.max(1, ...hours.map((each) => each.delivered + each.dead)));
  const late = above(Math.max(1, ...hours.map((each) => each.delaySeconds?.p95 ?? 0)));
  const base = bars + 8, floor = base + gap + delays;
  const y = (seconds) => floor - (Math.min(seconds, late) / late) * delays;
  const parts = hours.flatMap((each, i) => {
    const x = LEFT + i * step, good = (each.delivered / most) * bars, bad = (each.dead / most) * bars;
    const delay = each.delaySeconds;
    const words = `from ${clock(each.from)}: ${each.delivered} delivered, ${each.dead} failed` +
      (delay ? `; half within ${duration(delay.p50)}, 95% within ${duration(delay.p95)}, all within ${duration(delay.max)}` : "");
    return drawn("g", {}, drawn("title", {}, words),
      drawn("rect", { class: "target", x, y: 8, width: step, height: floor - 8 }),
      drawn("rect", { class: "good", x: x + 1, y: base - good, width: step - 2, height: good }),
      drawn("rect", { class: "bad", x: x + 1, y: base - good - bad, width: step - 2, height: bad }),
      delay && drawn("line", { class: "span", x1: x + step / 2, x2: x + step / 2, y1: y(delay.p50), y2: y(delay.p95) }),
      delay && drawn("circle", { class: "point", cx: x + step / 2, cy: y(delay.p50), r: 2.6 }));
  });
  const marks = hours.map((each, i) => [each, i]).filter(([, i]) => i % 6 === 5).map(([each, i]) =>
    text(LEFT + i * step + (i === hours.length - 1 ? step : step / 2), floor + 15,
      clock(each.from), { "text-anchor": i === hours.length - 1 ? "end" : "middle" }));
  const sum = (name) => hours.reduce((total, each) => total + each[name], 0);
  return frame(floor + 22, `The last 24 hours: ${sum("delivered")} delivered, ${sum("dead")} failed`,
    drawn("line", { class: "axis", x1: LEFT, x2: WIDE - RIGHT, y1: base, y2: base }),
    drawn("line", { class: "axis", x1: LEFT, x2: WIDE - RIGHT, y1: floor, y2: floor }),
    text(LEFT - 6, 16, String(most), { "text-anchor": "end" }), text(LEFT - 6, base, "0", { "text-anchor": "end" }),
    text(LEFT - 6, floor - delays + 8, duration(late), { "text-anchor": "end" }),
    text(LEFT - 6, floor, "0 s", { "text-anchor": "end" }), ...parts, ...marks);
}

/** The learnt distribution of durations, and below it the polls of a new operation. */
function scheduleChart(schedule) {
  const shown = schedule.shares.filter((each, i, all) => each.share > 0.0005 || all[i + 1]?.share > 0.0005);
  const polls = schedule.pollsAtSeconds, bars = 70, base = bars + 8;
  const until = Math.max(...shown.map((each) => each.fromSeconds * 1.19), Math.min(polls.at(-1) ?? 4, 3600), 8);
  const low = Math.log(Math.max(1, Math.min(polls[0] ?? 4, 4))), high = Math.log(until);
  const x = (seconds) => LEFT + ((Math.log(Math.max(seconds, Math.exp(low))) - low) / (high - low)) * (WIDE - LEFT - RIGHT);
  const most = Math.max(...shown.map((each) => each.share), 0.01);
  const bar = (each, i) => {
    const from = x(each.fromSeconds), to = x(Math.min(shown[i + 1]?.fromSeconds ?? each.fromSeconds * 1.19, until));
    const size = (each.share / most) * bars;
    return drawn("g", {}, drawn("title", {}, `${(each.share * 100).toFixed(1)}% end from ${duration(each.fromSeconds)} on`),
      drawn("rect", { class: "usual", x: from, y: base - size, width: Math.max(to - from - 1, 0.5), height: size }));
  };
  const inside = polls.filter((each) => each <= until);
  const ticks = [1, 5, 15, 60, 300, 900, 3600, 10800, 36000].filter((each) => Math.log(each) >= low && each <= until);
  return frame(base + 52, `Durations of operations, and ${plural(inside.length, "poll")} of a new one`,
    drawn("line", { class: "axis", x1: LEFT, x2: WIDE - RIGHT, y1: base, y2: base }),
    text(LEFT - 6, 16, `${Math.round(most * 100)}%`, { "text-anchor": "end" }),
    ...shown.map(bar),
    ...inside.map((each) => drawn("g", {}, drawn("title", {}, `poll at ${duration(each)}`),
      drawn("line", { class: "poll", x1: x(each), x2: x(each), y1: base + 6, y2: base + 18 }))),
    ...ticks.map((each) => text(x(each), base + 36, duration(each), { "text-anchor": "middle" })));
}

/** Fewer ends are no distribution yet: the page then shows only the polls. */
const ENOUGH_ENDS = 20;

function scheduleParts(schedule) {
  const { plan, completions, medianSeconds, pollsAtSeconds: polls } = schedule;
  const ends = Math.round(completions), isLearnt = ends >= ENOUGH_ENDS && schedule.shares.length > 0;
  const learnt = plan === "exponential" ? "The exponential plan learns no durations."
    : ends === 0 ? "No durations are learnt yet."
      : `Learnt from ${plural(ends, "operation")}${isLearnt && medianSeconds !== null ? `: half of them end within ${duration(medianSeconds)}.` : ", too few for a chart."}`;
  return [
    el("p", {}, learnt, ` A new operation is polled ${polls.slice(0, 8).map((each) => (each ? `after ${duration(each)}` : "at once")).join(", ")}${polls.length > 8 ? " and so on" : ""}.`),
    isLearnt && scheduleChart(schedule),
    isLearnt && legend(["usual", "share of the operations that end at this age; the axis is logarithmic"], ["poll", "poll of a new operation"]),
  ];
}

let overview = null;

async function readOverview() {
  overview = await call("GET", "overview");
  drawCharts();
}

function drawCharts() {
  const nothing = overview.hours.every((each) => each.delivered + each.dead === 0);
  show(byId("day"), overview.hours, () => (nothing ? el("p", { class: "quiet" }, "No callback ended in the last 24 hours.") : [
    dayChart(overview),
    legend(["good", "delivered per hour"], ["bad", "failed per hour"], ["point", "delay from the end to the delivery, median"], ["span", "up to 95%"]),
  ]));
  const isPart = overview.completeFrom > overview.from;
  byId("day-part").textContent = `${isPart ? `complete from ${clock(overview.completeFrom)} on; ` : ""}times in ${ZONE}`;
  const place = byId("schedule-choice");
  const names = overview.schedules.map((each) =>
    [each.kind === "job" ? `${each.source} (jobs)` : each.source, each.group].filter((part) => part !== null).join(" / "));
  const chosen = Math.max(names.indexOf(place.value), 0);
  show(place, names, () => names.map((name, i) => el("option", { value: name, selected: i === chosen }, name)));
  place.hidden = names.length < 2;
  byId("schedule").hidden = names.length === 0; // owners do not see it
  show(byId("schedule-of"), overview.schedules[chosen] ?? null, () => (overview.schedules[chosen] ? scheduleParts(overview.schedules[chosen]) : []));
}
