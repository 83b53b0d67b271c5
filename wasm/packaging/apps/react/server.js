// Renders on a server; writes HTML.
import { createElement as h } from "react";
import { renderToString } from "react-dom/server";
import { PontoonError } from "pontoon-db";
import { Shop } from "./shop.js";

if (!(new PontoonError("closed", "") instanceof Error)) throw new Error("the package is not there");
const options = { network: "pontoon", supernodes: ["wss://sn.example.org/pontoon"] };
console.log(renderToString(h(Shop, { options, onOpen: () => console.log("a server opened a peer") })));
