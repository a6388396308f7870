// Storage and vault are reached over private endpoints only. Callbacks may go to one inner network too.
using '../main.bicep'
extends '../main.bicepparam'

param environmentName = 'private-network'
param location = 'westeurope'
param privateNetworking = true
param networkRange = '10.60.0.0/24'
param settings = {
  ...base.settings
  BRIDGE_CALLBACK_ALLOWED_NETWORKS: '10.7.0.0/16, fd00::/8'
}
