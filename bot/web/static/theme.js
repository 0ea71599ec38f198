// Light or dark: the system's choice, or the person's. Runs before the page is painted.
(() => {
  const stored = localStorage.getItem("ratchet-theme");
  if (stored) document.documentElement.dataset.theme = stored;
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme")?.addEventListener("click", () => {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("ratchet-theme", root.dataset.theme);
    });
  });
})();
