// What did not fit into a prompt, as a sentence; empty when everything did.
const counted = (n, one, many) => `${n.toLocaleString()} ${n === 1 ? one : many}`;

/** {turns, passages, characters} as people read it. */
export function cutSentence({ turns = 0, passages = 0, characters = 0 } = {}) {
  const parts = [
    turns && counted(turns, "earlier turn", "earlier turns"),
    passages && counted(passages, "passage", "passages"),
    characters && counted(characters, "character", "characters"),
  ].filter(Boolean);
  if (!parts.length) return "";
  const list = parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : parts[0];
  const one = parts.length === 1 && turns + passages + characters === 1;
  return `${list} ${one ? "was" : "were"} left out: together they were too long for the model.`;
}
