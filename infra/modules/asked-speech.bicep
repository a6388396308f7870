// The Speech resource that is asked: the role is added to it alone, and only if the identity is what asks.
param name string
param principalId string
param usesKey bool

var speechUser = 'f2dc8367-1007-4938-bd23-fe263f013447' // Cognitive Services Speech User

resource account 'Microsoft.CognitiveServices/accounts@2024-10-01' existing = {
  name: name
}

resource role 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!usesKey) {
  name: guid(account.id, principalId, speechUser)
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', speechUser)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

// The regional one, where the resource has no custom subdomain: without a key the app then says `Misconfigured`.
output endpoint string = account.properties.endpoint
