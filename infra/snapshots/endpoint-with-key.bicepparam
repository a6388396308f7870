// An endpoint without a resource, with a key. A second source has a key of its own.
using '../main.bicep'
extends '../main.bicepparam'

param environmentName = 'endpoint-with-key'
param location = 'francecentral'
param speechEndpoint = 'https://westeurope.api.cognitive.microsoft.com'
param speechUsesKey = true
param keyVariables = ['VOICES_KEY', 'Other_Key2']
param alertEmail = 'operators@example.com'
param settings = {
  ...base.settings
  SPEECH_OTHER_ENDPOINTS: 'https://speech.example.com'
  BRIDGE_SOURCES: '[{"name": "voices", "endpoint": "https://voices.cognitiveservices.azure.com", "path": "customvoice", "keyVariable": "VOICES_KEY"}]'
}
