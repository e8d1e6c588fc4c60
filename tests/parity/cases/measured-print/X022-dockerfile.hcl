target "default" { dockerfile = null }
