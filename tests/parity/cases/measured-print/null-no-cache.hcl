target "default" { no-cache = null }
