target "default" { resources = null }
