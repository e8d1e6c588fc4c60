target "default" { output = null }
