BEGIN TRANSACTION;
CREATE TABLE administrator (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(64) NOT NULL, 
	password_hash VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	disabled_at BIGINT, 
	signed_in_at BIGINT, 
	CONSTRAINT uq_administrator_name UNIQUE (name)
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0006');
CREATE TABLE audit (
	number INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	actor_kind VARCHAR(16) NOT NULL, 
	actor VARCHAR(100), 
	address VARCHAR(64), 
	subject VARCHAR(100), 
	detail VARCHAR NOT NULL, 
	mac VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (number)
);
INSERT INTO "audit" VALUES(1,1795996476600,'key.issue','command line','root',NULL,'ak_live_7TDResQJl011mCHpUlzQ8g','{"derivation_id":"c761535449033704","mode":"live","name":"first live key","scopes":["*"]}','3a9ffe231c8f22876cb7dd9172fbb78ad7f62d8466fa8d146ebc6434dbb0d42f');
INSERT INTO "audit" VALUES(2,1795996476624,'key.issue','command line','root',NULL,'ak_test_14A2QLJvM8B4Yd0qXni9SO','{"derivation_id":"c761535449033704","mode":"test","name":"first test key","scopes":["*"]}','67044dc4c32f3a025bd6b5e5f66f85ac9cce82bd761711f8d41c2d59b1254ef2');
INSERT INTO "audit" VALUES(3,1795996485640,'key.issue','command line','root',NULL,'ak_live_1q6Bf5NCNK3CRJYrJUezXI','{"derivation_id":"c761535449033704","mode":"live","name":"full access","scopes":["*"]}','915737d6f7386f579fa10570bdcf95ba6247154ea9536166768b9d3893ef703a');
INSERT INTO "audit" VALUES(4,1795996486895,'key.issue','command line','root',NULL,'ak_test_0oJSzL9yPY8YzoSrXOcIYI','{"derivation_id":"c761535449033704","mode":"test","name":"test mode","scopes":["*"]}','500bfcfafccd99f230d7daeb4127862079b4aa1bfdc444d90dce875584d34ed8');
INSERT INTO "audit" VALUES(5,1795996488509,'key.issue','command line','root',NULL,'ak_live_1rHJU1WhRMGXdrO2wai3YG','{"derivation_id":"c761535449033704","mode":"live","name":"scoped","scopes":["account:read"]}','c9897e90081fb54dd3c110a7ba03a5c7a15e0d6d75b38d42f67e458eb135c1a4');
INSERT INTO "audit" VALUES(6,1795996489935,'key.issue','command line','root',NULL,'ak_live_6hmLuqYuYqTMQy35aQY5Fw','{"derivation_id":"c761535449033704","expires_at":7226582400000,"mode":"live","name":"with an expiry","scopes":["*"]}','18ce4c2b222d1b7e052e755a15f9399ed59e9ac630efb47fadf3bf6ef9b3e86e');
INSERT INTO "audit" VALUES(7,1795996490939,'key.issue','command line','root',NULL,'ak_live_1HPCvrmCy1ehoNyfRE0LJy','{"derivation_id":"c761535449033704","mode":"live","name":"revoked","scopes":["*"]}','c104914a0e3e856003958a2da722bddf3d508ecc7eb781bf2d1836e17cfe681c');
INSERT INTO "audit" VALUES(8,1795996491651,'key.issue','command line','root',NULL,'ak_live_5wyqjqql7tA9xyTiMVgEJ2','{"derivation_id":"c761535449033704","mode":"live","name":"rotated","scopes":["*"]}','f567bebf653fe9d2e26e621c2ea6e87873c0461c99641bba568634a88b09c262');
INSERT INTO "audit" VALUES(9,1795996493754,'key.import','command line','root',NULL,NULL,'{"count":1,"first_id":9,"last_id":9,"source_sha256":"e5262faec69429f6a58f70c3b1a5c49b071467fc2e9d573042f03cd53c094f31"}','bf0344df67cc6335e008b56f2fb0fd0de3c8c9a9aad6d9e9da0a886a0cfa27d4');
INSERT INTO "audit" VALUES(10,1795996495542,'key.revoke','command line','root',NULL,'ak_live_1HPCvrmCy1ehoNyfRE0LJy','{}','5dda4e1c0534abdb5d9d25695e82bb33403cfc6dae0cd593febd11c618ee207b');
INSERT INTO "audit" VALUES(11,1795996497715,'key.rotate','command line','root',NULL,'ak_live_5wyqjqql7tA9xyTiMVgEJ2','{"expires_at":[null,1795996497744],"successor":"ak_live_2QT5RADCKDHP769Ow4aWZg"}','6c6657b13cd2c93510d0c8cfd77f2aa37706280884e32ba59c9da98da88468f9');
CREATE TABLE console_session (
	token_hash BLOB NOT NULL, 
	administrator_id INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	messages VARCHAR NOT NULL, 
	CONSTRAINT pk_console_session PRIMARY KEY (token_hash)
);
CREATE TABLE credential (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	api_key VARCHAR(30) NOT NULL, 
	secret_hash BLOB NOT NULL, 
	derivation_id VARCHAR(16) NOT NULL, 
	account_id VARCHAR(27) NOT NULL, 
	mode VARCHAR(4) NOT NULL, 
	name VARCHAR(100), 
	scopes VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT, 
	revoked_at BIGINT, rotated_to VARCHAR(30), original_expires_at BIGINT, last_used_at BIGINT, first_used_at BIGINT, origin VARCHAR(8) DEFAULT 'derived' NOT NULL, 
	CONSTRAINT uq_credential_api_key UNIQUE (api_key)
);
INSERT INTO "credential" VALUES(1,'ak_live_7TDResQJl011mCHpUlzQ8g',X'F8841B87951A468E313F858C15AC5313B2D102A4DE6B00B508D9162C8C81A5F0','c761535449033704','acct_41IWa4xgkBvTRNEvD7wIMD','live','first live key','*',1795996476600,NULL,NULL,NULL,NULL,NULL,NULL,'derived');
INSERT INTO "credential" VALUES(2,'ak_test_14A2QLJvM8B4Yd0qXni9SO',X'966263536D12EC112770881542CD0E7DFE670A417EE07EE0CF3E07AF34A102B5','c761535449033704','acct_6zdUr9r5wEpCknIXay2jTu','test','first test key','*',1795996476624,NULL,NULL,NULL,NULL,NULL,NULL,'derived');
INSERT INTO "credential" VALUES(3,'ak_live_1q6Bf5NCNK3CRJYrJUezXI',X'D7008D9F8CC4767307B468644CC90B4138CE94F99B9581AEA4FFECFAFC75E593','c761535449033704','acct_3IGCpicikwfErpYys4nxCP','live','full access','*',1795996485640,NULL,NULL,NULL,NULL,1795996494016,1795996494016,'derived');
INSERT INTO "credential" VALUES(4,'ak_test_0oJSzL9yPY8YzoSrXOcIYI',X'A24AD50B63A7ACA5A290E9234B48894C58F322DB6BA87736C3F6070AE84EEE58','c761535449033704','acct_6mA0tCw5bPxnfofUFiD0iH','test','test mode','*',1795996486895,NULL,NULL,NULL,NULL,1795996494024,1795996494024,'derived');
INSERT INTO "credential" VALUES(5,'ak_live_1rHJU1WhRMGXdrO2wai3YG',X'E023CE5476434D56B4EEDE7A508649DBEDFE863E8B5C6609376C73B1CF559E74','c761535449033704','acct_0uxszIerEyMfItDKIREdDn','live','scoped','account:read',1795996488509,NULL,NULL,NULL,NULL,1795996494056,1795996494052,'derived');
INSERT INTO "credential" VALUES(6,'ak_live_6hmLuqYuYqTMQy35aQY5Fw',X'41621BBD7564245DBCDA6121651E0C5DA10530DC2E3C99B02541D4AA21BF84A1','c761535449033704','acct_4skXBnCq6oQAultMQwEuEN','live','with an expiry','*',1795996489935,7226582400000,NULL,NULL,NULL,1795996494068,1795996494064,'derived');
INSERT INTO "credential" VALUES(7,'ak_live_1HPCvrmCy1ehoNyfRE0LJy',X'42FCDC2519D4B554804BF713E89DE7B48BE585FD3E91B6F86EC2EE9591EADE66','c761535449033704','acct_4E2lfmLdBFmNSdadLnyeHy','live','revoked','*',1795996490939,NULL,1795996495542,NULL,NULL,1795996494072,1795996494068,'derived');
INSERT INTO "credential" VALUES(8,'ak_live_5wyqjqql7tA9xyTiMVgEJ2',X'A4C23B33AE09BA4FCB134986AF5099CD70C2B6ECBDD007A76E92B99A8E9914DF','c761535449033704','acct_5DaP4UZ2gx2tbENheIaNDi','live','rotated','*',1795996491651,1795996497744,NULL,'ak_live_2QT5RADCKDHP769Ow4aWZg',NULL,1795996494076,1795996494072,'derived');
INSERT INTO "credential" VALUES(9,'ak_live_2gug1fyD86ItMulPAc5hgb',X'6A35DADE54BCA4F500E10B005B90679F3D4D5A74FD612488FC19152E95406935','','acct_7IKH94dmwCy1fpOj3gC3eN','live','imported','*',1795996493754,NULL,NULL,NULL,NULL,1795996494084,1795996494080,'imported');
INSERT INTO "credential" VALUES(10,'ak_live_2QT5RADCKDHP769Ow4aWZg',X'FAD5E4DB0B6A597A68878FF4436ECBD0E415B9F559086093A7ACF03C3BAD3BF2','c761535449033704','acct_5DaP4UZ2gx2tbENheIaNDi','live','rotated','*',1795996497744,NULL,NULL,NULL,NULL,NULL,NULL,'derived');
CREATE TABLE invalidation (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	lookup VARCHAR(64) NOT NULL, 
	at BIGINT NOT NULL
);
INSERT INTO "invalidation" VALUES(1,'live_7TDResQJl011mCHpUlzQ8g',1795996476600);
INSERT INTO "invalidation" VALUES(2,'test_14A2QLJvM8B4Yd0qXni9SO',1795996476624);
INSERT INTO "invalidation" VALUES(3,'live_1q6Bf5NCNK3CRJYrJUezXI',1795996485640);
INSERT INTO "invalidation" VALUES(4,'test_0oJSzL9yPY8YzoSrXOcIYI',1795996486895);
INSERT INTO "invalidation" VALUES(5,'live_1rHJU1WhRMGXdrO2wai3YG',1795996488509);
INSERT INTO "invalidation" VALUES(6,'live_6hmLuqYuYqTMQy35aQY5Fw',1795996489935);
INSERT INTO "invalidation" VALUES(7,'live_1HPCvrmCy1ehoNyfRE0LJy',1795996490939);
INSERT INTO "invalidation" VALUES(8,'live_5wyqjqql7tA9xyTiMVgEJ2',1795996491651);
INSERT INTO "invalidation" VALUES(9,'6a35dade54bca4f500e10b005b90679f3d4d5a74fd612488fc19152e95406935',1795996493754);
INSERT INTO "invalidation" VALUES(10,'live_1HPCvrmCy1ehoNyfRE0LJy',1795996495542);
INSERT INTO "invalidation" VALUES(11,'live_2QT5RADCKDHP769Ow4aWZg',1795996497715);
INSERT INTO "invalidation" VALUES(12,'live_5wyqjqql7tA9xyTiMVgEJ2',1795996497715);
CREATE TABLE refusal (
	credential_id INTEGER NOT NULL, 
	reason VARCHAR(16) NOT NULL, 
	refusals BIGINT NOT NULL, 
	CONSTRAINT pk_refusal PRIMARY KEY (credential_id, reason)
)
 WITHOUT ROWID

;
CREATE TABLE set_up_link (
	token_hash BLOB NOT NULL, 
	expires_at BIGINT NOT NULL, 
	CONSTRAINT pk_set_up_link PRIMARY KEY (token_hash)
);
INSERT INTO "set_up_link" VALUES(X'A6828FC261F407A112E2649F7E9A532476E8F04851E15F1BD62CA7822846DCB9',1796000076645);
CREATE TABLE sighting (
	credential_id INTEGER NOT NULL, 
	address VARCHAR(40) NOT NULL, 
	at BIGINT NOT NULL, 
	CONSTRAINT pk_sighting PRIMARY KEY (credential_id, address)
)
 WITHOUT ROWID

;
INSERT INTO "sighting" VALUES(3,'127.0.0.1',1795996494016);
INSERT INTO "sighting" VALUES(4,'127.0.0.1',1795996494024);
INSERT INTO "sighting" VALUES(5,'127.0.0.1',1795996494056);
INSERT INTO "sighting" VALUES(6,'127.0.0.1',1795996494068);
INSERT INTO "sighting" VALUES(7,'127.0.0.1',1795996494072);
INSERT INTO "sighting" VALUES(8,'127.0.0.1',1795996494076);
INSERT INTO "sighting" VALUES(9,'127.0.0.1',1795996494084);
CREATE TABLE usage (
	credential_id INTEGER NOT NULL, 
	hour BIGINT NOT NULL, 
	uses BIGINT NOT NULL, 
	CONSTRAINT pk_usage PRIMARY KEY (credential_id, hour)
)
 WITHOUT ROWID

;
INSERT INTO "usage" VALUES(3,1795993200000,1);
INSERT INTO "usage" VALUES(4,1795993200000,2);
INSERT INTO "usage" VALUES(5,1795993200000,3);
INSERT INTO "usage" VALUES(6,1795993200000,4);
INSERT INTO "usage" VALUES(7,1795993200000,5);
INSERT INTO "usage" VALUES(8,1795993200000,6);
INSERT INTO "usage" VALUES(9,1795993200000,7);
CREATE TABLE usage_watermark (
	segment VARCHAR(32) NOT NULL, 
	credential_id INTEGER NOT NULL, 
	uses BIGINT NOT NULL, 
	revoked BIGINT NOT NULL, 
	expired BIGINT NOT NULL, 
	scope BIGINT NOT NULL, 
	CONSTRAINT pk_usage_watermark PRIMARY KEY (segment, credential_id)
)
 WITHOUT ROWID

;
CREATE INDEX ix_credential_mode_id ON credential (mode, id);
CREATE INDEX ix_console_session_administrator_id ON console_session (administrator_id);
CREATE INDEX ix_credential_expires_at ON credential (expires_at, id, mode, revoked_at);
CREATE INDEX ix_credential_name ON credential (name COLLATE NOCASE, id, mode, revoked_at, expires_at);
CREATE UNIQUE INDEX uq_credential_imported_hash ON credential (secret_hash) WHERE origin = 'imported';
CREATE INDEX ix_audit_subject_number ON audit (subject, number);
CREATE INDEX ix_audit_successor ON audit (CASE WHEN json_valid(detail) THEN json_extract(detail, '$.successor') END) WHERE action = 'key.rotate';
CREATE INDEX ix_audit_import ON audit (at) WHERE action = 'key.import';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('credential',10);
INSERT INTO "sqlite_sequence" VALUES('invalidation',12);
COMMIT;
