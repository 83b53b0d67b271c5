// The package as its users get it: packed, installed and built into applications.
import "./contents.mjs";
import "./pages.mjs";
import "./node.mjs";
import "./react.mjs";
