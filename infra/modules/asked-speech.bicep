// The Speech resource that is asked: the role is added to it alone, and only if the identity is what asks.
param name string
param principalId string
param usesKey bool

var speechUser = 'f2dc8367-1007-4938-bd23-fe263f013447' // Cognitive Services Speech User

resource account 'Microsoft.CognitiveServices/accounts@2024-10-01' existing = {
  name: name
}

resource role 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!usesKey) {
  // In lower case: an id that was typed in other letters names the same resource, and the same assignment.
  name: guid(toLower(account.id), principalId, speechUser)
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', speechUser)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

// Resources of some years ago have a path here, which is not that of the API. A resource without a custom subdomain has
// the regional endpoint, which takes keys only: without a key the app then answers `Misconfigured`.
var endpoint = 'https://${split(account.properties.endpoint, '/')[2]}'
var regional = 'https://${account.location}.api.cognitive.microsoft.com'

output endpoint string = endpoint
// The host that Speech names in `Operation-Location`, which clients pass on.
output regionalEndpoint string = endpoint == regional ? '' : regional
