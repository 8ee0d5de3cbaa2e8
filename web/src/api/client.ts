// Requests to the service: with the key, asked again where it says so. What is answered has the types of its own
// description, web/openapi.json.
import type { components } from "./schema";
import { key } from "../state/session";

/** Why a request got no answer: what the service says of it, or that it can't be reached (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

/** Where the service is: where the page comes from, whatever path a proxy has put it below. */
export const SERVICE = new URL(".", document.baseURI).href.replace(/\/$/, "");

const TRIES = 5;
const LONGEST_WAIT_S = 10;

/** `fetch` with the key; asks again after 429 and 503, as long after as the service wants. Throws `ApiError`. */
export async function send(request: Request): Promise<Response> {
  if (key.value) request.headers.set("Authorization", `Bearer ${key.value}`);
  for (let tries = 1; ; tries++) {
    const response = await reach(request.clone());
    if (response.ok) return response;
    if ((response.status !== 429 && response.status !== 503) || tries === TRIES) throw await refusal(response);
    const seconds = Math.min(Number(response.headers.get("Retry-After")) || 1, LONGEST_WAIT_S);
    await pause(seconds * 1000 * (1 + Math.random() / 4), request.signal);
  }
}

async function reach(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    if (request.signal.aborted) throw error;
    throw new ApiError(0, "unreachable", "The service can’t be reached.", "Look at the network, or ask its operator.");
  }
}

async function refusal(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null);
  const said = (name: string): string => {
    const value = body && typeof body === "object" ? (body as Record<string, unknown>)[name] : undefined;
    return typeof value === "string" ? value : "";
  };
  const message = said("message") || `The service answered ${response.status}.`;
  return new ApiError(response.status, said("code") || "failed", message, said("hint"));
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}

/** What the service's description calls its requests and answers. */
export type Schemas = components["schemas"];

/** Ask with GET. */
export async function get<Data>(path: string, signal?: AbortSignal): Promise<Data> {
  return (await (await send(new Request(`${SERVICE}${path}`, signal ? { signal } : {}))).json()) as Data;
}

/** Ask with POST: a picture, or an object as JSON. */
export async function post<Data>(path: string, body: object, signal?: AbortSignal): Promise<Data> {
  const isPicture = body instanceof Blob;
  const headers = { "Content-Type": isPicture ? body.type || "application/octet-stream" : "application/json" };
  const options = { method: "POST", headers, body: isPicture ? body : JSON.stringify(body), ...(signal ? { signal } : {}) };
  return (await (await send(new Request(`${SERVICE}${path}`, options))).json()) as Data;
}

/** Whether a request was given up by the page itself. */
export const isAborted = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError";

/** Return what was thrown as an `ApiError`, so that it can be shown. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(500, "page_failed", String(error), "Load the page again; if it stays so, report it.");
}
