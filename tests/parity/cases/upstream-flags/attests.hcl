target "default" {
  attest = [
    { type = "provenance", mode = "max" },
    { type = "sbom", generator = "mine", A = "b,c", B2 = "x" },
    "type=other,disabled=true",
    "type=third,generator=mine,\"C=d,e\",F=G",
  ]
}
target "objects" { attest = [{ type = "sbom", disabled = true }, { type = "provenance", disabled = "false" }] }
target "read" { args = { v = jsonencode([target.default.attest, target.objects.attest]) } }
