// The Speech resource exists, in another subscription.
using '../main.bicep'
extends '../main.bicepparam'

param environmentName = 'named-speech'
param location = 'westeurope'
param speechResourceId = '/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/Media/providers/Microsoft.CognitiveServices/accounts/Speech-Of-Media'
param alertActionGroupId = '/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/Media/providers/Microsoft.Insights/actionGroups/on-call'
param runbookUrl = 'https://github.com/example/bridge/blob/main/infra/README.md'
