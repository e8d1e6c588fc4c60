target "default" { entitlements = null }
