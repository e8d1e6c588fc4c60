target "default" { tags = null }
