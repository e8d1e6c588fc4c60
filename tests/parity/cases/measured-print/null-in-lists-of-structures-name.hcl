target "default" { output = [{ type = "image", name = null }] }
