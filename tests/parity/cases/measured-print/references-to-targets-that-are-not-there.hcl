target "a" { tags = target.b.tags }
