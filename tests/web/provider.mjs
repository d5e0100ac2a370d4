// A real OpenID provider (panva's oidc-provider): client credentials and resource indicators give signed JWT access tokens.
// Usage: node provider.mjs <folder with node_modules> <audience>; prints its address.
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const [folder, audience] = process.argv.slice(2);
const found = createRequire(folder + "/").resolve("oidc-provider");
const { Provider, default: standard } = await import(pathToFileURL(found));
const server = createServer((request, response) => handler(request, response));
let handler;
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const people = {
    "physician-software": { SubjectNameID: "899900000029", SubjectRefPro: { exercices: [{ codeProfession: "10", codeSavoirFaire: "SM26" }] }, SubjectOrganizationID: "750000001" },
    "podiatrist-software": { SubjectNameID: "899900000011", SubjectRole: ["80^1.2.250.1.213.1.1.5.5"] },
  };
  const provider = new (Provider ?? standard)(issuer, {
    clients: Object.keys(people).map((client_id) => ({
      client_id, client_secret: "an invented secret", grant_types: ["client_credentials"], redirect_uris: [], response_types: [],
    })),
    scopes: ["user/*.rs"],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        getResourceServerInfo: () => ({ scope: "user/*.rs", audience, accessTokenFormat: "jwt", accessTokenTTL: 300, jwt: { sign: { alg: "RS256" } } }),
      },
    },
    extraTokenClaims: (_context, token) => people[token.clientId],
  });
  handler = provider.callback();
  console.log(issuer);
});
