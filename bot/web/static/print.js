// Paper cannot be opened: what is folded is unfolded while a page is printed, and folded again.

/** Unfold everything inside a box whenever the page is printed. */
export function unfoldToPrint(box) {
  const printing = matchMedia("print");
  let unfolded = [];
  const unfold = () => {
    const folded = [...box.querySelectorAll("details:not([open])")];
    unfolded.push(...folded);
    for (const one of folded) one.open = true;
  };
  const fold = () => {
    for (const one of unfolded) one.open = false;
    unfolded = [];
  };
  addEventListener("beforeprint", unfold);
  addEventListener("afterprint", fold);
  printing.addEventListener("change", () => (printing.matches ? unfold() : fold()));
}
