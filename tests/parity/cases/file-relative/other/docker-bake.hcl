target "app" { tags = ["app"] }
target "other" { context = "." }
target "far" { inherits = ["base", "implicit"] }
target "far-reference" { context = target.base.context }
target "implicit-again" {}
