target "default" { ulimits = null }
