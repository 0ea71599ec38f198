// One question to the API, its answer as events: {start}, {queue}, {text}, {end} or a thrown Error.
import { failure } from "./dom.js";

const LOST = "The connection to the server was lost. What came so far is kept.";

/** Ask and yield what comes; `metadata` has conversation_id, from which the server knows the turns before, replaces and
 * train; `signal` stops it. */
export async function* ask(question, metadata, signal) {
  const messages = [{ role: "user", content: question }];
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model: "ratchet", stream: true, messages, metadata }),
    signal,
  }).catch((error) => {
    throw error.name === "AbortError" ? error : lost();
  });
  if (!response.ok) throw await failure(response);
  for await (const data of dataLines(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(`${chunk.error.message} ${chunk.error.hint}`.trim());
    if (chunk.ratchet_start) yield { start: chunk.ratchet_start };
    if (chunk.ratchet_queue) yield { queue: chunk.ratchet_queue.position };
    const text = chunk.choices[0]?.delta?.content;
    if (text) yield { text };
    if (chunk.ratchet) yield { end: { ...chunk.ratchet, finish_reason: chunk.choices[0]?.finish_reason } };
  }
  throw lost();
}

const lost = () => Object.assign(new Error(LOST), { lost: true });

async function* dataLines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read().catch((error) => {
        throw error.name === "AbortError" ? error : lost();
      });
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) if (event.startsWith("data: ")) yield event.slice(6);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
