target "t" {
  cache-from = ["type=gha,token=t", "type=s3,region=r,bucket=b,name=n"]
  cache-to   = ["type=gha", "type=s3,region=r,bucket=b,name=n"]
}
