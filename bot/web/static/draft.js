// What was typed and not yet sent: kept in this browser for this person, so that no reload or lost connection loses it.
const person = document.body.dataset.person ?? "";
const key = (conversation) => `ratchet-draft ${person} ${conversation ?? "new"}`;

/** Keep what stands in the field of a conversation, null for a new one. */
export function keepDraft(conversation, text) {
  if (text.trim()) localStorage.setItem(key(conversation), text.slice(0, 20_000));
  else localStorage.removeItem(key(conversation));
}

/** What was kept, or "". */
export const draftOf = (conversation) => localStorage.getItem(key(conversation)) ?? "";

/** Forget all drafts of this browser. */
export function forgetDrafts() {
  for (const name of Object.keys(localStorage)) if (name.startsWith("ratchet-draft ")) localStorage.removeItem(name);
}
