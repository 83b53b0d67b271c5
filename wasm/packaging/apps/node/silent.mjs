// Somebody listens at the address and never answers: `connect` rejects, and nothing of the socket outlives it.
import { connect } from "pontoon-db";

const failure = await connect({ network: "pontoon", supernodes: [process.argv[2]], timeout: 500 }).catch((error) => error);
console.log(failure.code);
