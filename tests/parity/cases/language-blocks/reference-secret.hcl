target "b" {
 secret=["id=a,src=/b", {id="c",env="D"}]
 ssh=["default","k=/a,/b"]
 attest=["type=sbom","type=provenance,mode=max",{type="x",disabled=true}]
}
target "default" {
  args = {
    v = jsonencode([target.b.secret,target.b.ssh,target.b.attest])
  }
}
