// Light or dark: the system's choice, or the person's. Runs before the page is painted.
(() => {
  const root = document.documentElement;
  const stored = localStorage.getItem("ratchet-theme");
  if (stored) root.dataset.theme = stored;
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme")?.addEventListener("click", () => {
      const dark = root.dataset.theme
        ? root.dataset.theme === "dark"
        : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("ratchet-theme", root.dataset.theme);
    });
  });
})();
