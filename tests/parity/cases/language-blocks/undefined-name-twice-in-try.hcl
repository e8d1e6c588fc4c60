target "default" { args = { a = try(UNDEF,"x"), b = try(UNDEF,"y") } }
