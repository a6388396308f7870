// Instances are kept warm, more of them and larger ones are allowed, and the log may be larger.
using '../main.bicep'
extends '../main.bicepparam'

param environmentName = 'always-ready'
param location = 'westeurope'
param instanceMemoryMB = 2048
param maximumInstanceCount = 100
param alwaysReadyHttp = 1
param alwaysReadyDeliver = 2
param httpPerInstanceConcurrency = 32
param logDailyCapGb = '0.5'
