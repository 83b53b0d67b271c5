/** How Puppeteer launches Debian's Firefox without a window. PONTOON_FIREFOX names another one. */
export const FIREFOX = {
  browser: "firefox",
  headless: true,
  executablePath: process.env.PONTOON_FIREFOX ?? "/usr/bin/firefox-esr",
  extraPrefsFirefox: {
    // Two profiles of one machine do not resolve each other's names for hidden addresses.
    "media.peerconnection.ice.obfuscate_host_addresses": false,
    // Pages are in content processes that are not named after their site.
    "fission.webContentIsolationStrategy": 0,
    "network.captive-portal-service.enabled": false,
    "network.connectivity-service.enabled": false,
    // A page that is not in front is a peer all the same.
    "dom.min_background_timeout_value": 4,
    "dom.timeout.enable_budget_timer_throttling": false,
  },
};
