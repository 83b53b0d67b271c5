// How the project starts Chromium: for the end-to-end tests and for the pictures.

/** @type {{ headless: boolean, executablePath: string, args: string[] }} */
export const CHROMIUM = {
  headless: true,
  executablePath: process.env.PONTOON_CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // A page that is not in front is a peer all the same.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
  ],
};
