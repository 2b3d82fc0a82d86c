// Before the first paint: the theme chosen earlier, so that nothing flashes.
try {
  const chosen = localStorage.getItem("crossgraph-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // no storage: the system's theme it is
}
