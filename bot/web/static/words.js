// Two texts word by word: what only one of them says is marked (longest common subsequence of words).
import { h } from "./dom.js";

const MOST = 600;
const split = (text) => text.match(/\s+|[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu) ?? [];

/** The words of `mine` as elements; those that `other` lacks stand in <mark>. */
export function against(mine, other) {
  const [a, b] = [split(mine), split(other)];
  if (a.length > MOST || b.length > MOST) return [mine];
  const kept = common(a, b);
  const out = [];
  a.forEach((word, place) => {
    if (kept.has(place) || !word.trim()) out.push(word);
    else out.push(h("mark", {}, word));
  });
  return out;
}

function common(a, b) {
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1)
      lengths[i][j] = a[i] === b[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
  }
  const kept = new Set();
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) {
      kept.add(i);
      i += 1;
      j += 1;
    } else if (lengths[i + 1][j] >= lengths[i][j + 1]) i += 1;
    else j += 1;
  }
  return kept;
}
