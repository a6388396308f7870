// The calls of the API. The key is kept for this tab only, is sent in a header, and is never part of a URL.

const BY_TOKEN = document.documentElement.dataset.auth === "entra";
const KEPT = "bridge.key";
const MAX_WAIT = 20000;

/** The bridge requires a key or a token, or does not accept the given one. */
class Locked extends Error {}

/** The bridge refused the request. Each of `details` has a target and a message. */
class Refused extends Error {
  constructor(status, error) {
    super(error?.message || `The bridge answered ${status}.`);
    this.status = status;
    this.code = error?.code;
    this.details = error?.details ?? [];
  }
}

const keyHeaders = () => {
  const key = sessionStorage.getItem(KEPT);
  if (!key) return {};
  return BY_TOKEN ? { Authorization: `Bearer ${key}` } : { "x-functions-key": key };
};

/** JSON of a client, sent on unchanged. */
class Raw {
  constructor(text) {
    this.text = text;
  }
}

// JavaScript rounds large integers and long decimals, but a client's JSON must not change. To keep the text of each
// number, the number is parsed as a string that begins with this mark.
const MARK = `number-${Math.random().toString(36).slice(2)}:`;
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;

/** Parses an answer. The client's metadata become Raw. */
function parsedExactly(text) {
  const answer = JSON.parse(text);
  const marked = JSON.parse(text.replace(STRING_OR_NUMBER, (found) => (found.startsWith('"') ? found : `"${MARK}${found}"`)));
  return withRawMetadata(answer, marked);
}

/** The query of a callback URL can contain a secret: the page keeps and shows `?…` instead. */
const withoutQuery = (url) => url.replace(/^([^?#]*[?#]).+/s, "$1…");

function withRawMetadata(answer, marked) {
  for (const [name, value] of Object.entries(answer ?? {})) {
    if (name === "callbackUrl" && typeof value === "string") answer[name] = withoutQuery(value);
    if (value === null || typeof value !== "object") continue;
    if (name !== "metadata") withRawMetadata(value, marked[name]);
    else answer[name] = new Raw(JSON.stringify(marked[name]).replaceAll(new RegExp(`"${MARK}([^"]*)"`, "g"), "$1"));
  }
  return answer;
}

/** Writes the body of a request. Undefined fields are left out. */
function writtenBody(body) {
  const fields = Object.entries(body).filter(([, value]) => value !== undefined);
  return `{${fields.map(([name, value]) => `${JSON.stringify(name)}:${value instanceof Raw ? value.text : JSON.stringify(value)}`)}}`;
}

/** Calls a path below /api. Throws Locked, Refused, or Error if there is no answer. */
async function call(method, path, body) {
  const headers = { Accept: "application/json", ...keyHeaders() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response, text;
  try {
    const asked = { method, headers, cache: "no-store", credentials: "omit", redirect: "error" };
    response = await fetch(path, {
      ...asked, body: body === undefined ? undefined : writtenBody(body), signal: AbortSignal.timeout(MAX_WAIT),
    });
    text = await response.text();
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? "the bridge does not answer" : "the bridge cannot be reached");
  }
  const answer = parsed(text);
  if (response.status === 401) throw new Locked(answer?.error?.message ?? "");
  if (!response.ok) throw new Refused(response.status, answer?.error);
  return answer;
}

function parsed(text) {
  try {
    return text ? parsedExactly(text) : null;
  } catch {
    return null;
  }
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Writes a call for a shell. The key comes from the shell's environment, never from the page. */
function curl(method, path, body) {
  const key = BY_TOKEN ? ' -H "Authorization: Bearer $BRIDGE_TOKEN"' : ' -H "x-functions-key: $BRIDGE_KEY"';
  const content = body === undefined ? "" : ` -H 'Content-Type: application/json' -d ${quoted(writtenBody(body))}`;
  return `curl -sS -X ${method} ${quoted(new URL(path, location.href).href)}${key}${content}`;
}
