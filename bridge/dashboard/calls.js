// The calls of the API. The key is kept for this tab alone, goes in a header, and is in no address.

const BY_TOKEN = document.documentElement.dataset.auth === "entra";
const KEPT = "bridge.key";
const MAX_WAIT = 20000;

/** The bridge wants a key or a token, or not the one that it was given. */
class Locked extends Error {}

/** The bridge answered that it does not follow; `details` are sentences. */
class Refused extends Error {
  constructor(status, error) {
    super(error?.message || `The bridge answered ${status}.`);
    this.status = status;
    this.details = (error?.details ?? []).map((each) => `${each.target}: ${each.message}`);
  }
}

const keyHeaders = () => {
  const key = sessionStorage.getItem(KEPT);
  if (!key) return {};
  return BY_TOKEN ? { Authorization: `Bearer ${key}` } : { "x-functions-key": key };
};

/** JSON as a client wrote it, sent on as it stands. */
class Raw {
  constructor(text) {
    this.text = text;
  }
}

// JavaScript rounds large integers and long decimals, and a client's JSON is not ours to change. To keep the text of
// each number, it is parsed as a string that begins with this mark.
const MARK = `number-${Math.random().toString(36).slice(2)}:`;
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;

/** Parses an answer. What a client wrote, its metadata, becomes Raw. */
function parsedExactly(text) {
  const answer = JSON.parse(text);
  const marked = JSON.parse(text.replace(STRING_OR_NUMBER, (found) => (found.startsWith('"') ? found : `"${MARK}${found}"`)));
  return withRawMetadata(answer, marked);
}

/** The query of a callback URL can hold a secret: the page keeps and shows `?…` in its place. */
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

/** Writes the body of a request; fields that are undefined are left out. */
function writtenBody(body) {
  const fields = Object.entries(body).filter(([, value]) => value !== undefined);
  return `{${fields.map(([name, value]) => `${JSON.stringify(name)}:${value instanceof Raw ? value.text : JSON.stringify(value)}`)}}`;
}

/** Calls a path below /api; raises Locked, Refused, or Error where no answer came. */
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

/** Writes a call for a shell: the key comes from the shell's environment, never from here. */
function curl(method, path, body) {
  const key = BY_TOKEN ? ' -H "Authorization: Bearer $BRIDGE_TOKEN"' : ' -H "x-functions-key: $BRIDGE_KEY"';
  const content = body === undefined ? "" : ` -H 'Content-Type: application/json' -d ${quoted(writtenBody(body))}`;
  return `curl -sS -X ${method} ${quoted(new URL(path, location.href).href)}${key}${content}`;
}
