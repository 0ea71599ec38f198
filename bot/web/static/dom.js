// Elements, calls to the API, and times. Text always goes in as text, never as HTML.

/** An element: h("p", {class: "muted", onclick: f}, "text", child). */
export function h(tag, props = {}, ...children) {
  return filled(document.createElement(tag), props, children);
}

/** The same for drawings. */
export function s(tag, props = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function filled(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string" && !(element instanceof SVGElement)) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Call the API with JSON; throws an Error whose message is the server's sentence. */
export async function call(method, path, body) {
  const isForm = body instanceof FormData;
  const response = await fetch(path, {
    method,
    headers: body && !isForm ? { "Content-Type": "application/json" } : {},
    body: isForm ? body : body ? JSON.stringify(body) : undefined,
  });
  if (!response.ok) throw await failure(response);
  return response.json();
}

/** The server's error as an Error. */
export async function failure(response) {
  const content = await response.json().catch(() => ({}));
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  return asError(response.status, content);
}

/** An Error of the API's error object, with its status. */
export function asError(status, content) {
  const { message = `The server answered ${status}.`, hint = "" } = content.error ?? {};
  const error = new Error(`${message[0].toUpperCase()}${message.slice(1)} ${hint}`.trim());
  error.status = status;
  return error;
}

/** A path with a query; what is empty is left out. */
export function query(path, values) {
  const found = new URLSearchParams(
    Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined),
  );
  return found.size ? `${path}?${found}` : path;
}

/** A time as people read it. */
export function when(iso) {
  return iso ? new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "–";
}

/** A time that does not break over lines, for tables. */
export const time = (iso) => (iso ? h("time", { datetime: iso }, when(iso)) : "–");

/** A length of time in words: 42 s, 3 min 5 s, 2 h 10 min. */
export function lasted(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return hours ? `${hours} h ${minutes} min` : rest ? `${minutes} min ${rest} s` : `${minutes} min`;
}

/** "1 passage", "3 passages". */
export const counted = (n, one, many = `${one}s`) => `${Number(n).toLocaleString()} ${n === 1 ? one : many}`;

/** A text cut at a length. */
export const cut = (text, length) => (text.length > length ? `${text.slice(0, length).trimEnd()}…` : text);
